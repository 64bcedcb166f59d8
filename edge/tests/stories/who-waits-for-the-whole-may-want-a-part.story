# A range request reads along with a fetch that another began, and gets its part; a conditional one its answer.

client a sends GET /page
origin sees GET /page
client b sends GET /page
  Range: bytes=7-
client b waits
client c sends GET /page
  If-None-Match: "v1"
client c waits
origin answers 200
  Cache-Control: max-age=60
  ETag: "v1"
  Content-Length: 10
  | 01234
client a begins
origin adds
  | 56789
client a sees 200
  | 0123456789
client b sees 206
  Cache-Status has collapsed
  Content-Range: bytes 7-9/10
  | 789
client c sees 304

restart?

client sends GET /page
client sees 200
  Cache-Status has hit
  | 0123456789
