# The order of parameters, their ignored ones, and the spelling of a path make no other response; what may mean something does.

site
  [cache]
  profile = "static"

  [cache.key]
  ignore_parameters = ["utm_*"]

client sends GET /page?b=2&a=1
origin sees GET /page?b=2&a=1
origin answers 200
  Cache-Control: max-age=60
  | hello
client sees 200

restart?

client sends GET /page?a=1&b=2
client sees 200
  Cache-Status has hit
client sends GET /page?utm_source=x&a=1&b=2
client sees 200
  Cache-Status has hit

client sends GET /page?a=1&b=3
origin sees GET /page?a=1&b=3
origin answers 200
client sees 200
client sends GET /page
origin sees GET /page
origin answers 200
client sees 200
client sends GET /PAGE?a=1&b=2
origin sees GET /PAGE?a=1&b=2
origin answers 200
client sees 200
