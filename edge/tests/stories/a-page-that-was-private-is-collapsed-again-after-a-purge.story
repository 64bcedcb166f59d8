# What an answer taught is over two minutes later, and when it is purged.

without disk: what was learned is in memory alone

client sends GET /account
origin sees GET /account
origin answers 200
  Cache-Control: private
client sees 200

purge soft url /account
client a sends GET /account
origin a sees GET /account
client b sends GET /account
client b waits
origin a answers 200
  Cache-Control: private
client a sees 200
origin b sees GET /account
origin b answers 200
  Cache-Control: private
client b sees 200

advance 2m
client c sends GET /account
origin c sees GET /account
client d sends GET /account
client d waits
origin c answers 200
  Cache-Control: max-age=60
client c sees 200
client d sees 200
  Cache-Status has collapsed
