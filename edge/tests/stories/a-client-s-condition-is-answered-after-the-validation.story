# What is stored is stale, and the client has a copy, too: the edge validates its own, then answers the client's condition from it.

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  ETag: "v1"
  | one
client sees 200

advance 61s
restart?

client sends GET /page
  If-None-Match: "v1"
origin sees GET /page
  If-None-Match: "v1"
origin answers 304
client sees 304
  ETag: "v1"

advance 61s
client sends GET /page
  If-None-Match: "v0"
origin sees GET /page
  If-None-Match: "v1"
origin answers 304
client sees 200
  | one

# The client has already what the origin has now.
advance 61s
client sends GET /page
  If-None-Match: "v2"
origin sees GET /page
  If-None-Match: "v1"
origin answers 200
  Cache-Control: max-age=60
  ETag: "v2"
  | two
client sees 304
  ETag: "v2"

client sends GET /page
client sees 200
  Cache-Status has hit
  | two
