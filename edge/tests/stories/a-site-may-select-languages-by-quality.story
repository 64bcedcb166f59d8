# cache.languages = "by-quality": what a client means decides, not how it says it; a response in one language is for all who prefer it.

site
  [cache]
  profile = "rfc"
  languages = "by-quality"

client sends GET /page
  Accept-Language: en;q=0.5, de
origin sees GET /page
  Accept-Language: en;q=0.5, de
origin answers 200
  Cache-Control: max-age=60
  Vary: Accept-Language
  Content-Language: de
  | hallo
client sees 200

restart?

client sends GET /page
  Accept-Language: de, en;q=0.5
client sees 200
  Cache-Status has hit
  | hallo
client sends GET /page
  Accept-Language: de
client sees 200
  Cache-Status has hit
  | hallo

client sends GET /page
  Accept-Language: en, de;q=0.5
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  Vary: Accept-Language
  Content-Language: en
  | hello
client sees 200
  | hello
