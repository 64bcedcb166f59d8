# A 304 brings the fields of the stored response up to date, but for those that describe the content that is stored (RFC 9111 §3.2).

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  ETag: "v1"
  Content-Type: text/plain
  Content-Language: en
  X-Version: 1
  X-Kept: 1
  | hello
client sees 200

advance 61s
restart?

client sends GET /page
origin sees GET /page
  If-None-Match: "v1"
origin answers 304
  Cache-Control: max-age=100
  ETag: "v1"
  Content-Type: text/html
  Content-Encoding: gzip
  Content-Length: 1000
  Content-Range: bytes 0-1/2
  X-Version: 2
  X-New: 1
client sees 200
  Cache-Control: max-age=100
  Content-Type: text/plain
  Content-Encoding absent
  Content-Range absent
  Content-Length: 5
  Content-Language: en
  X-Version: 2
  X-New: 1
  X-Kept: 1
  | hello

restart?

client sends GET /page
client sees 200
  Cache-Status has hit
  Cache-Status has ttl=100
  Content-Type: text/plain
  Content-Encoding absent
  Content-Range absent
  Content-Length: 5
  X-Version: 2
  X-New: 1
  | hello
