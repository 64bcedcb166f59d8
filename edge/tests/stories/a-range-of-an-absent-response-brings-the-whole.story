# A range of what is not stored: the origin is asked for the whole, the client gets its range, and the next one comes from the store.

client sends GET /page
  Range: bytes=2-4
origin sees GET /page
  Range absent
origin answers 200
  Cache-Control: max-age=60
  | 0123456789
client sees 206
  Content-Range: bytes 2-4/10
  Cache-Status has fwd=uri-miss
  | 234

restart?

client sends GET /page
  Range: bytes=5-6
client sees 206
  Content-Range: bytes 5-6/10
  Cache-Status has hit
  | 56

client sends GET /page
client sees 200
  Cache-Status has hit
  | 0123456789
