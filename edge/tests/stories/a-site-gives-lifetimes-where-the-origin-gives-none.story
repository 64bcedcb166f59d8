# cache.default: lifetimes by status, for answers without one of their own, to requests that are not personal.

site
  [cache]
  profile = "static"
  default = { "200" = "100s", "404" = "10s" }
  heuristic_cap = "0s"

client sends GET /page
origin sees GET /page
origin answers 200
  | hello
client sees 200
client sends GET /missing
origin sees GET /missing
origin answers 404
client sees 404
client sends GET /own
origin sees GET /own
origin answers 200
  Cache-Control: max-age=5
client sees 200
client sends GET /personal
  Authorization: Basic eDp5
origin sees GET /personal
origin answers 200
client sees 200

advance 9s
restart?

client sends GET /page
client sees 200
  Cache-Status has ttl=91
client sends GET /missing
client sees 404
  Cache-Status has ttl=1
client sends GET /own
origin sees GET /own
origin answers 200
client sees 200
  Cache-Status has fwd=stale
client sends GET /personal
origin sees GET /personal
origin answers 404
client sees 404
