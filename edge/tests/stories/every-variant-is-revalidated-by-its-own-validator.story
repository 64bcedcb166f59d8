# Several variants are stored; each goes stale and is validated by the entity tag that came with it (RFC 9111 §4.3.1).

client sends GET /page
  Accept-Language: en
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  Vary: Accept-Language
  ETag: "en1"
  | hello
client sees 200

client sends GET /page
  Accept-Language: de
origin sees GET /page
  Accept-Language: de
origin answers 200
  Cache-Control: max-age=60
  Vary: Accept-Language
  ETag: "de1"
  | hallo
client sees 200
  Cache-Status has fwd=vary-miss

advance 61s
restart?

client sends GET /page
  Accept-Language: de
origin sees GET /page
  Accept-Language: de
  If-None-Match: "de1"
origin answers 304
  Cache-Control: max-age=60
  Vary: Accept-Language
client sees 200
  ETag: "de1"
  | hallo

# The other one is stale as before: only what was validated is fresh.
client sends GET /page
  Accept-Language: en
origin sees GET /page
  Accept-Language: en
  If-None-Match: "en1"
origin answers 200
  Cache-Control: max-age=60
  Vary: Accept-Language
  ETag: "en2"
  | hello again
client sees 200
  | hello again

restart?

client sends GET /page
  Accept-Language: de
client sees 200
  Cache-Status has hit
  | hallo
client sends GET /page
  Accept-Language: en
client sees 200
  Cache-Status has hit
  | hello again
