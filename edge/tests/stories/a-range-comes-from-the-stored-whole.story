# One range of a stored response: first bytes, last bytes (suffix), the rest. What lies outside is refused with the length (RFC 9110 §14, §15.5.17).

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  Content-Type: text/plain
  ETag: "v1"
  | 0123456789
client sees 200
  | 0123456789

restart?

client sends GET /page
  Range: bytes=2-4
client sees 206
  Cache-Status has hit
  Content-Range: bytes 2-4/10
  Content-Length: 3
  Content-Type: text/plain
  ETag: "v1"
  | 234

client sends GET /page
  Range: bytes=-3
client sees 206
  Content-Range: bytes 7-9/10
  | 789

client sends GET /page
  Range: bytes=-30
client sees 206
  Content-Range: bytes 0-9/10
  | 0123456789

client sends GET /page
  Range: bytes=8-
client sees 206
  Content-Range: bytes 8-9/10
  | 89

client sends GET /page
  Range: bytes=8-100
client sees 206
  Content-Range: bytes 8-9/10
  | 89

client sends GET /page
  Range: bytes=10-
client sees 416
  Content-Range: bytes */10

client sends GET /page
  Range: bytes=-0
client sees 416
  Content-Range: bytes */10

# What is no range of bytes is ignored.
client sends GET /page
  Range: lines=1-2
client sees 200
  Content-Range absent
  | 0123456789

client sends GET /page
  Range: bytes=4-2
client sees 200
  | 0123456789
