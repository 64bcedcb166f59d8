# What the origin says about its own connection (RFC 9110 §7.6.1) is neither passed on nor stored (RFC 9111 §3.1).

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  Connection: X-Hop, X-Other-Hop
  X-Hop: 1
  X-Other-Hop: 1
  X-End: 1
  Keep-Alive: timeout=5
  Proxy-Connection: keep-alive
  Proxy-Authenticate: Basic
  Proxy-Authentication-Info: x
  TE: trailers
  Trailer: X-Trailer
  Upgrade: h2c
  Transfer-Encoding: chunked
  | hello
client sees 200
  X-Hop absent
  X-Other-Hop absent
  X-End: 1
  Keep-Alive absent
  Proxy-Connection absent
  Proxy-Authenticate absent
  Proxy-Authentication-Info absent
  TE absent
  Trailer absent
  Upgrade absent
  Connection lacks X-Hop
  | hello

restart?

client sends GET /page
client sees 200
  Cache-Status has hit
  X-Hop absent
  X-Other-Hop absent
  X-End: 1
  Keep-Alive absent
  Proxy-Connection absent
  Proxy-Authenticate absent
  Proxy-Authentication-Info absent
  TE absent
  Trailer absent
  Upgrade absent
  Transfer-Encoding absent
  Connection lacks X-Hop
  | hello

# The same for what is passed through.
client sends POST /form
  | content
origin sees POST /form
origin answers 200
  Connection: X-Hop
  X-Hop: 1
  X-End: 1
  Keep-Alive: timeout=5
  Proxy-Connection: keep-alive
  Trailer: X-Trailer
  Upgrade: h2c
client sees 200
  X-Hop absent
  X-End: 1
  Keep-Alive absent
  Proxy-Connection absent
  Trailer absent
  Upgrade absent
