# Several ranges of a stored response are parts of one multipart/byteranges answer, as asked (RFC 9110 §14.6, §15.3.7.2). One that cannot be had
# is left out; what overlaps is answered with the whole.

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  Content-Type: text/plain
  ETag: "v1"
  | 0123456789
client sees 200

restart?

client sends GET /page
  Range: bytes=0-1, 5-6, -1
client sees 206
  Cache-Status has hit
  Content-Type like multipart/byteranges; boundary=*
  Content-Range absent
  ETag: "v1"
  part text/plain bytes 0-1/10 | 01
  part text/plain bytes 5-6/10 | 56
  part text/plain bytes 9-9/10 | 9

client sends GET /page
  Range: bytes=7-8, 2-3
client sees 206
  part text/plain bytes 7-8/10 | 78
  part text/plain bytes 2-3/10 | 23

# One is left: no parts.
client sends GET /page
  Range: bytes=2-3, 20-30
client sees 206
  Content-Range: bytes 2-3/10
  Content-Type: text/plain
  | 23

client sends GET /page
  Range: bytes=20-30, 40-50
client sees 416
  Content-Range: bytes */10

client sends GET /page
  Range: bytes=0-5, 3-7
client sees 200
  | 0123456789

client sends GET /page
  Range: bytes=0-1, 5-6
  If-Range: "v0"
client sees 200
  | 0123456789

client sends HEAD /page
  Range: bytes=0-1, 5-6
client sees 200
  Content-Length: 10
