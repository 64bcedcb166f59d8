# An origin that answers 500, 502, 503 or 504, or nothing at all, is covered by what is stored (RFC 5861 §4, RFC 9111 §4.2.4).

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60, stale-if-error=600
  | stored
client sees 200

advance 61s
restart?

client sends GET /page
origin sees GET /page
origin answers 503
  Cache-Control: no-store
  | sorry
client sees 200
  Age: 61
  Cache-Status has detail=stale-if-error
  | stored

client sends GET /page
origin sees GET /page
origin answers 500
client sees 200
  | stored

# What is no failure of the origin is passed on.
client sends GET /page
origin sees GET /page
origin answers 403
  Cache-Control: no-store
  | no
client sees 403
  | no

# Nobody is there.
origin stops
client sends GET /page
client sees 200
  Age: 61
  | stored

# As long as stale-if-error says.
advance 600s
client sends GET /page
client sees 502
