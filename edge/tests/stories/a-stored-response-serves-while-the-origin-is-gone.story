# Nobody can be asked: what is stored is better than nothing, unless that is forbidden (RFC 9111 §4.2.4). The origin being back, it is validated.

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  ETag: "v1"
  | stored
client sees 200

advance 1h
restart?
origin stops

client sends GET /page
client sees 200
  Age: 3600
  Cache-Status has ttl=-3540
  | stored

# Nothing is stored of it.
client sends GET /other
client sees 502
  Cache-Control has no-store
  Proxy-Status present

origin starts

client sends GET /page
origin sees GET /page
  If-None-Match: "v1"
origin answers 304
client sees 200
  Age: 0
client sends GET /page
client sees 200
  Cache-Status has hit
  | stored
