# The revalidation in the background fails: what is stored goes on answering within its window, and is validated again by the next request.
# After the window, a request waits.

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60, stale-while-revalidate=100
  | old
client sees 200

advance 61s
restart?

client sends GET /page
client sees 200
  | old
origin sees GET /page
origin answers 503
client sends GET /page
client sees 200
  | old
origin sees GET /page
origin answers 503

advance 100s
client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  | new
client sees 200
  Cache-Status has fwd=stale
  | new
