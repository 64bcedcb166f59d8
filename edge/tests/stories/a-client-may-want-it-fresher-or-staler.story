# The request's own Cache-Control (RFC 9111 §5.2.1): max-age, min-fresh, max-stale, no-cache, no-store.

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  ETag: "v1"
  | hello
client sees 200

advance 30s
restart?

client sends GET /page
  Cache-Control: max-age=30
client sees 200
  Cache-Status has hit
client sends GET /page
  Cache-Control: min-fresh=30
client sees 200
  Cache-Status has hit

client sends GET /page
  Cache-Control: max-age=29
origin sees GET /page
  If-None-Match: "v1"
origin answers 304
client sees 200
  Age: 0
  Cache-Status has fwd=request

advance 31s
client sends GET /page
  Cache-Control: min-fresh=30
origin sees GET /page
  If-None-Match: "v1"
origin answers 304
client sees 200

advance 70s
client sends GET /page
  Cache-Control: max-stale=10
client sees 200
  Age: 70
  Cache-Status has ttl=-10
client sends GET /page
  Cache-Control: max-stale
client sees 200
  Age: 70
client sends GET /page
  Cache-Control: max-stale=9
origin sees GET /page
  If-None-Match: "v1"
origin answers 304
client sees 200

client sends GET /page
  Cache-Control: no-cache
origin sees GET /page
origin answers 304
client sees 200
client sends GET /page
  Pragma: no-cache
origin sees GET /page
origin answers 304
client sees 200

# Not stored, on the client's wish.
client sends GET /other
  Cache-Control: no-store
origin sees GET /other
origin answers 200
  Cache-Control: max-age=60
client sees 200
client sends GET /other
origin sees GET /other
origin answers 200
client sees 200
