# What was stored for everybody is validated, and the answer now varies: it is stored for the requests that it is for.

client sends GET /page
  Accept-Language: en
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  ETag: "all"
  | one for all
client sees 200

advance 61s

client sends GET /page
  Accept-Language: de
origin sees GET /page
  If-None-Match: "all"
  Accept-Language: de
origin answers 200
  Cache-Control: max-age=600
  Vary: Accept-Language
  ETag: "de"
  | hallo
client sees 200
  | hallo

restart?

client sends GET /page
  Accept-Language: de
client sees 200
  Cache-Status has hit
  | hallo

# The old one still answers others, but it is stale.
client sends GET /page
  Accept-Language: en
origin sees GET /page
origin answers 200
  Cache-Control: max-age=600
  Vary: Accept-Language
  ETag: "en"
  | hello
client sees 200
  | hello

client sends GET /page
  Accept-Language: de
client sees 200
  Cache-Status has hit
  | hallo
