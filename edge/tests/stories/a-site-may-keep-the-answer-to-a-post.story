# cache.post = "store": an answer to a POST that names its target and its lifetime is the answer to later GETs (RFC 9110 §9.3.3).

site
  [cache]
  profile = "rfc"
  post = "store"

client sends POST /search
  | word
origin sees POST /search
  | word
origin answers 200
  Cache-Control: max-age=60
  Content-Location: /search
  | found
client sees 200
  | found

restart?

client sends GET /search
client sees 200
  Cache-Status has hit
  | found

# Each POST goes to the origin.
client sends POST /search
  | word
origin sees POST /search
origin answers 200
client sees 200
