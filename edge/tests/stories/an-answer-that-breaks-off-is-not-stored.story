# The origin closes before all that it announced: the client can tell, and nothing is stored.

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  Content-Length: 10
  | 01234
client begins
origin closes
client sees 200 broken

restart?

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  Content-Length: 10
  | 01234
origin adds
  | 56789
client sees 200
  | 0123456789

client sends GET /page
client sees 200
  Cache-Status has hit
  | 0123456789
