# A HEAD that only the origin may answer tells of what is stored: the same validator and length bring its fields up to date, others make it
# stale (RFC 9111 §4.3.5).

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  ETag: "v1"
  X-Version: 1
  | hello
client sees 200

advance 50s
restart?

client sends HEAD /page
  If-Match: "v1"
origin sees HEAD /page
  If-Match: "v1"
origin answers 200
  Cache-Control: max-age=100
  ETag: "v1"
  X-Version: 2
  Content-Length: 5
client sees 200
  X-Version: 2
  Content-Length: 5

restart?

client sends GET /page
client sees 200
  Cache-Status has hit
  Cache-Status has ttl=100
  X-Version: 2
  | hello

client sends HEAD /page
  If-Match: "v2"
origin sees HEAD /page
origin answers 200
  Cache-Control: max-age=100
  ETag: "v2"
  Content-Length: 5
client sees 200

restart?

client sends GET /page
origin sees GET /page
  If-None-Match: "v1"
origin answers 200
  Cache-Control: max-age=100
  ETag: "v2"
  | HELLO
client sees 200
  | HELLO

# Another length is another content, too.
client sends HEAD /page
  If-Match: "v2"
origin sees HEAD /page
origin answers 200
  ETag: "v2"
  Content-Length: 6
client sees 200
client sends GET /page
origin sees GET /page
origin answers 304
  ETag: "v2"
client sees 200

# A failure tells nothing.
client sends HEAD /page
  If-Match: "v9"
origin sees HEAD /page
origin answers 412
client sees 412
client sends GET /page
client sees 200
  Cache-Status has hit
