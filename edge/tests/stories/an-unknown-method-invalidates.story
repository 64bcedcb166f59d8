# A method that the edge does not know may change anything: it is passed on, and its success invalidates the target (RFC 9111 §4.4).

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=600
  | 1
client sees 200

client sends M-SEARCH /page
origin sees M-SEARCH /page
origin answers 200
  Cache-Control: max-age=600
  | found
client sees 200
  Cache-Status has fwd=method
  | found

restart?

client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=600
  | 2
client sees 200
  | 2

# What only reads does not.
client sends OPTIONS /page
origin sees OPTIONS /page
origin answers 200
client sees 200
client sends GET /page
client sees 200
  Cache-Status has hit
  | 2
