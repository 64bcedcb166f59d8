# Each answer says what the edge did with the request, in the words of RFC 9211, after what caches behind it said.

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  Cache-Status: inner; hit
  ETag: "v1"
client sees 200
  Cache-Status like inner; hit, edge1; fwd=uri-miss;*
  Cache-Status has fwd-status=200
  Cache-Status has stored

advance 20s
restart?

client sends GET /page
client sees 200
  Cache-Status like inner; hit, edge1; hit;*
  Cache-Status has ttl=40

# The client wants it validated.
client sends GET /page
  Cache-Control: no-cache
origin sees GET /page
  If-None-Match: "v1"
origin answers 304
client sees 200
  Cache-Status has fwd=request
  Cache-Status has fwd-status=304

advance 100s
client sends GET /page
origin sees GET /page
origin answers 200
client sees 200
  Cache-Status has fwd=stale

client sends GET /varied
  Accept: text/html
origin sees GET /varied
origin answers 200
  Cache-Control: max-age=60
  Vary: Accept
client sees 200
client sends GET /varied
  Accept: text/plain
origin sees GET /varied
origin answers 200
  Cache-Control: no-store
client sees 200
  Cache-Status has fwd=vary-miss
  Cache-Status has detail=no-store
  Cache-Status lacks stored

client sends DELETE /page
origin sees DELETE /page
origin answers 204
client sees 204
  Cache-Status has fwd=method

client sends GET /page
  Cache-Control: no-store
origin sees GET /page
origin answers 200
client sees 200
  Cache-Status has fwd=bypass
  Cache-Status has detail=no-store
