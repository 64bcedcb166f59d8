# Interim responses reach the client whose request they answer, when they come, and nobody else (RFC 8297).

client a sends GET /page
origin sees GET /page
client b sends GET /page
client b waits
origin answers 103
  Link: </style.css>; rel=preload
client a sees 103
  Link: </style.css>; rel=preload
origin answers 200
  Cache-Control: max-age=60
  | hello
client a sees 200
  Link absent
  | hello
client b sees 200
  Link absent
  | hello

restart?

client sends GET /page
client sees 200
  Cache-Status has hit
  Link absent
  | hello

# What is passed through, too.
client sends POST /form
  | content
origin sees POST /form
origin answers 103
  Link: </style.css>; rel=preload
client sees 103
origin answers 200
client sees 200
