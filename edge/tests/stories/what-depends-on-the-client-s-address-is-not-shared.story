# The origin is told the client's address by the edge, whatever the client says there: what varies by it is for one client alone.

client sends GET /near
origin sees GET /near
  X-Forwarded-For present
origin answers 200
  Cache-Control: max-age=60
  Vary: X-Forwarded-For
  | near one
client sees 200
  Cache-Status has detail=vary-star
  | near one

client sends GET /near
origin sees GET /near
origin answers 200
  Cache-Control: max-age=60
  Vary: X-Real-IP
  | near another
client sees 200
  | near another

# What the key tells, or a fetch for the store leaves out, makes no variants, whatever a client says there.
client sends GET /far
origin sees GET /far
origin answers 200
  Cache-Control: max-age=60
  Vary: X-Forwarded-Proto, X-Forwarded-Host, Range
  | far
client sees 200
  | far

restart?

client sends GET /far
  X-Forwarded-Proto: gopher
  X-Forwarded-Host: elsewhere.example
client sees 200
  Cache-Status has hit
  | far
