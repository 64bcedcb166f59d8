# A HEAD of what is not stored fetches and stores the whole: the next GET finds it.

client sends HEAD /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  | hello
client sees 200
  Content-Length: 5
  no content

restart?

client sends GET /page
client sees 200
  Cache-Status has hit
  | hello

# Stale, it is validated by a GET.
advance 61s
client sends HEAD /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  | hello again
client sees 200
  Content-Length: 11
client sends GET /page
client sees 200
  Cache-Status has hit
  | hello again
