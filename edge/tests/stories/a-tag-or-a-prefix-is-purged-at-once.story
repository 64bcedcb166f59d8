# One purge takes all that carry a tag, or whose path begins so; variants too; and nothing else.

client sends GET /a/1
origin sees GET /a/1
origin answers 200
  Cache-Control: max-age=600
  Cache-Tag: red, blue
client sees 200
  Cache-Tag absent
client sends GET /a/2
  Accept-Language: en
origin sees GET /a/2
origin answers 200
  Cache-Control: max-age=600
  Vary: Accept-Language
client sees 200
client sends GET /b
origin sees GET /b
origin answers 200
  Cache-Control: max-age=600
  Cache-Tag: green
client sees 200

restart?

purge hard tag blue
client sends GET /a/1
origin sees GET /a/1
origin answers 200
  Cache-Control: max-age=600
client sees 200
client sends GET /a/2
  Accept-Language: en
client sees 200
  Cache-Status has hit

purge hard prefix /a/
restart?
client sends GET /a/1
origin sees GET /a/1
origin answers 200
client sees 200
client sends GET /a/2
  Accept-Language: en
origin sees GET /a/2
origin answers 200
client sees 200
client sends GET /b
client sees 200
  Cache-Status has hit
