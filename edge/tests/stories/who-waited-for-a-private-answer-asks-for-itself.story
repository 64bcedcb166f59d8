# The answer turns out to be for the one who asked: those who waited ask the origin themselves, all at once.

without disk: nothing is stored

client a sends GET /page
origin a sees GET /page
client b sends GET /page
client b waits
client c sends GET /page
client c waits
origin a answers 200
  Cache-Control: private
  | for a
client a sees 200
  Cache-Status has detail=private
  | for a
origin x sees GET /page
origin y sees GET /page
origin y answers 200
  Cache-Control: private
  | for one
origin x answers 200
  Cache-Control: private
  | for one
client b sees 200
  | for one
client c sees 200
  | for one
