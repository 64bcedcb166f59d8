# What a client says about its own connection is not passed on (RFC 9110 §7.6.1): not with a fetch for the store, not with a request that is
# passed through. The edge says its own.

without disk: nothing is stored
without HTTP/2: it has no such fields

client sends GET /page
  Connection: keep-alive, X-Hop, X-Other-Hop
  X-Hop: 1
  X-Other-Hop: 1
  X-End: 1
  Keep-Alive: timeout=5
  Proxy-Connection: keep-alive
  Proxy-Authorization: Basic eDp5
  TE: trailers
  Trailer: X-Trailer
origin sees GET /page
  X-Hop absent
  X-Other-Hop absent
  X-End: 1
  Keep-Alive absent
  Proxy-Connection absent
  Proxy-Authorization absent
  TE absent
  Trailer absent
  Connection lacks X-Hop
origin answers 200
  Cache-Control: no-store
client sees 200

client sends POST /form
  Connection: X-Hop
  X-Hop: 1
  X-End: 1
  Keep-Alive: timeout=5
  Proxy-Connection: keep-alive
  TE: trailers
  | content
origin sees POST /form
  X-Hop absent
  X-End: 1
  Keep-Alive absent
  Proxy-Connection absent
  TE absent
  Connection lacks X-Hop
  | content
origin answers 200
client sees 200
