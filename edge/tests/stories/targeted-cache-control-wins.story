# CDN-Cache-Control is for caches like this one and wins over Cache-Control and Expires (RFC 9213); Jet9-Cache-Control is for this one alone,
# wins over both, and is not passed on.

client sends GET /cdn
origin sees GET /cdn
origin answers 200
  Cache-Control: no-store
  CDN-Cache-Control: max-age=100
  | stored
client sees 200
  Cache-Control: no-store
  CDN-Cache-Control: max-age=100
  Cache-Status has stored

client sends GET /jet9
origin sees GET /jet9
origin answers 200
  Cache-Control: max-age=100
  CDN-Cache-Control: max-age=100
  Jet9-Cache-Control: no-store
client sees 200
  Jet9-Cache-Control absent
  Cache-Status has detail=no-store

# One that is no dictionary counts as absent.
client sends GET /bad
origin sees GET /bad
origin answers 200
  Cache-Control: max-age=30
  CDN-Cache-Control: max-age=100, =
client sees 200
  Cache-Status has stored

advance 50s
restart?

client sends GET /cdn
client sees 200
  Cache-Status has ttl=50
  | stored
client sends GET /jet9
origin sees GET /jet9
origin answers 200
client sees 200
client sends GET /bad
origin sees GET /bad
origin answers 200
client sees 200
