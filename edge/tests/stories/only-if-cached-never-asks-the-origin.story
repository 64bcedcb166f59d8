# only-if-cached (RFC 9111 §5.2.1.7): from the store, or 504.

client sends GET /page
  Cache-Control: only-if-cached
client sees 504
  Cache-Status present

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  | hello
client sees 200

restart?

client sends GET /page
  Cache-Control: only-if-cached
client sees 200
  Cache-Status has hit
  | hello

# What is stale may not be used without asking.
advance 61s
client sends GET /page
  Cache-Control: only-if-cached
client sees 504
