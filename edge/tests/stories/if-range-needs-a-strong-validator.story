# If-Range gives a range only when its validator is the stored one and strong (RFC 9110 §13.1.5); otherwise the whole.

client sends GET /strong
origin sees GET /strong
origin answers 200
  Cache-Control: max-age=60
  ETag: "v1"
  Last-Modified: {now-1d}
  | 0123456789
client sees 200

client sends GET /weak
origin sees GET /weak
origin answers 200
  Cache-Control: max-age=60
  ETag: W/"v1"
  | 0123456789
client sees 200

restart?

client sends GET /strong
  Range: bytes=0-1
  If-Range: "v1"
client sees 206
  | 01

client sends GET /strong
  Range: bytes=0-1
  If-Range: "v2"
client sees 200
  | 0123456789

client sends GET /strong
  Range: bytes=0-1
  If-Range: W/"v1"
client sees 200
  | 0123456789

# The date is that of a day ago: strong (§8.8.2.2). Another one is not the stored one, even if it is later.
client sends GET /strong
  Range: bytes=0-1
  If-Range: {now-1d}
client sees 206
  | 01

client sends GET /strong
  Range: bytes=0-1
  If-Range: {now-1h}
client sees 200
  | 0123456789

client sends GET /weak
  Range: bytes=0-1
  If-Range: W/"v1"
client sees 200
  | 0123456789

# A range that cannot be had does not matter when the condition fails.
client sends GET /strong
  Range: bytes=50-
  If-Range: "v2"
client sees 200
  | 0123456789

client sends GET /strong
  Range: bytes=50-
  If-Range: "v1"
client sees 416
