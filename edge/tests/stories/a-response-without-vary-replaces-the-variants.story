# The origin no longer varies: its newer answer is for every request, though older variants would match some (RFC 9111 §4.1).

client sends GET /page
  Accept-Language: en
origin sees GET /page
origin answers 200
  Cache-Control: max-age=600
  Vary: Accept-Language
  | hello
client sees 200

advance 10s

client sends GET /page
  Accept-Language: de
origin sees GET /page
origin answers 200
  Cache-Control: max-age=600
  | one for all
client sees 200

restart?

client sends GET /page
  Accept-Language: en
client sees 200
  Cache-Status has hit
  | one for all

client sends GET /page
  Accept-Language: fr
client sees 200
  Cache-Status has hit
  | one for all
