# Date is when the origin made the response, however long it was stored (RFC 9110 §6.6.1). Its age counts from there.

client sends GET /page
origin sees GET /page
origin answers 200
  Date: {now-5s}
  Cache-Control: max-age=60
  | hello
client sees 200
  Date: {now-5s}
  Age: 5

advance 20s
restart?

client sends GET /page
client sees 200
  Date: {now-25s}
  Age: 25
  Cache-Status has hit

client sends GET /page
  Range: bytes=0-0
client sees 206
  Date: {now-25s}

client sends HEAD /page
client sees 200
  Date: {now-25s}
  Content-Length: 5

# Without one, it is dated by when it came.
client sends GET /undated
origin sees GET /undated
origin answers 200
  Date absent
  Cache-Control: max-age=60
client sees 200
  Date: {now}
advance 10s
client sends GET /undated
client sees 200
  Date: {now-10s}
  Age: 10

# What passes through keeps its date, too: our clock says when it came, not when it was made.
client sends POST /form
  | content
origin sees POST /form
origin answers 200
  Date: {now-5s}
client sees 200
  Date: {now-5s}
