# A stale response is validated by the entity tag that came with it; a 304 makes it fresh for as long as the 304 says.

client sends GET /page
origin sees GET /page
  If-None-Match absent
origin answers 200
  Cache-Control: max-age=60
  ETag: "v1"
  | hello
client sees 200
  Age: 0
  Cache-Status has fwd=uri-miss
  Cache-Status has stored
  | hello

advance 10s
restart?

client sends GET /page
origin sees nothing
client sees 200
  Age: 10
  Cache-Status has hit
  Cache-Status has ttl=50
  | hello

advance 51s

client sends GET /page
origin sees GET /page
  If-None-Match: "v1"
origin answers 304
  Cache-Control: max-age=100
client sees 200
  Age: 0
  Cache-Control: max-age=100
  Cache-Status has fwd=stale
  | hello

advance 99s
restart?

client sends GET /page
client sees 200
  Age: 99
  Cache-Status has hit
  | hello
