# must-revalidate, proxy-revalidate, no-cache and s-maxage forbid to serve stale, whatever else is said (RFC 9111 §4.2.4, §5.2.2).

client sends GET /must
origin sees GET /must
origin answers 200
  Cache-Control: max-age=60, must-revalidate, stale-if-error=600, stale-while-revalidate=600
client sees 200
client sends GET /proxy
origin sees GET /proxy
origin answers 200
  Cache-Control: max-age=60, proxy-revalidate, stale-if-error=600
client sees 200
client sends GET /shared
origin sees GET /shared
origin answers 200
  Cache-Control: s-maxage=60, stale-while-revalidate=600
client sees 200
client sends GET /no-cache
origin sees GET /no-cache
origin answers 200
  Cache-Control: no-cache, max-age=60
  ETag: "v1"
client sees 200

advance 61s
restart?

client sends GET /must
origin sees GET /must
origin answers 503
client sees 503
client sends GET /proxy
origin sees GET /proxy
origin answers 503
client sees 503
client sends GET /shared
origin sees GET /shared
origin answers 503
client sees 503
client sends GET /no-cache
origin sees GET /no-cache
  If-None-Match: "v1"
origin answers 503
client sees 503

origin stops
client sends GET /must
client sees 502
client sends GET /no-cache
client sees 502
