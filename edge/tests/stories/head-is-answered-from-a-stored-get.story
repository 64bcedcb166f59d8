# HEAD gets what GET would, without the content; conditions count. What is not stored is fetched whole for both.

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  ETag: "v1"
  | hello
client sees 200

restart?

client sends HEAD /page
client sees 200
  Cache-Status has hit
  Content-Length: 5
  ETag: "v1"
  no content
client sends HEAD /page
  If-None-Match: "v1"
client sees 304
client sends HEAD /page
  Range: bytes=0-1
client sees 200
  Content-Length: 5
  Content-Range absent
