# A 500 is an application's word about one page: the others are asked for as before.

client sends GET /other
origin sees GET /other
origin answers 500
client sees 500
restart?
client sends GET /broken
origin sees GET /broken
origin answers 500
client sees 500
client sends GET /broken
origin sees GET /broken
origin answers 500
client sees 500
client sends GET /broken
origin sees GET /broken
origin answers 500
client sees 500
client sends GET /broken
origin sees GET /broken
origin answers 500
client sees 500
client sends GET /broken
origin sees GET /broken
origin answers 500
client sees 500
client sends GET /broken
origin sees GET /broken
origin answers 500
client sees 500

client sends GET /good
origin sees GET /good
origin answers 200
  | good
client sees 200
  | good
