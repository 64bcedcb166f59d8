# Nobody waits for an answer that, like the last one, will be for one client alone; as soon as one may be stored, that is over.

client a sends GET /account
origin a sees GET /account
client b sends GET /account
client b waits
origin a answers 200
  Cache-Control: private
  | for a
client a sees 200
  Cache-Status has detail=private
  | for a
origin b sees GET /account
origin b answers 200
  Cache-Control: private
  | for b
client b sees 200
  | for b

client c sends GET /account
origin c sees GET /account
client d sends GET /account
origin d sees GET /account
origin d answers 200
  Cache-Control: private
  | for d
client d sees 200
  Cache-Status has detail=predicted-uncacheable
  Cache-Status lacks stored
  | for d
origin c answers 200
  Cache-Control: max-age=60
  | for all
client c sees 200
  Cache-Status has detail=predicted-uncacheable
  Cache-Status has stored
  | for all

restart?

client e sends GET /account
client e sees 200
  Cache-Status has hit
  | for all

advance 61s
client f sends GET /account
origin f sees GET /account
client g sends GET /account
client g waits
origin f answers 200
  Cache-Control: max-age=60
  | for all
client f sees 200
  | for all
client g sees 200
  Cache-Status has collapsed
  | for all
