// Judges results of the public suite by the suite's own rules, imported from the checkout. Tabs between the parts of a line.
// node judge.mjs CHECKOUT RESULTS: one line a test that applies to a proxy: kind, passed or lost, its name, what it said.
// node judge.mjs CHECKOUT: one line for each proxy whose results come with the suite: its name and how many tests it passes of each kind.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [checkout, file] = process.argv.slice(2)
const load = async path => import(pathToFileURL(join(checkout, path)))
const { determineTestResult, resultTypes } = await load('test-engine/lib/results.mjs')
const suites = (await load('tests/index.mjs')).default
const tests = suites.flatMap(suite => suite.tests).filter(test => !test.browser_only)
const read = path => JSON.parse(readFileSync(path, 'utf8'))
const kindOf = test => test.kind ?? 'required'

function judge (test, results) {
  const result = determineTestResult(suites, test.id, results)
  if (result === resultTypes.pass || result === resultTypes.yes) return { passed: true, said: '' }
  const dependent = result === resultTypes.dependency_fail
  const said = [results[test.id]].flat().join(': ').replace(/\s+/g, ' ')
  return { passed: false, said: dependent ? 'a test that it depends on was lost' : said }
}

if (file) {
  const results = read(file)
  for (const test of tests) {
    const { passed, said } = judge(test, results)
    console.log([kindOf(test), passed ? 'passed' : 'lost', test.id, said].join('\t'))
  }
} else {
  const published = (await load('results/index.mjs')).default
  for (const { name, version, file } of published.filter(({ type }) => type !== 'browser')) {
    const results = read(join(checkout, 'results', file))
    const passed = tests.filter(test => judge(test, results).passed).map(kindOf)
    const count = kind => passed.filter(each => each === kind).length
    console.log([`${name} ${version}`, count('required'), count('optimal'), count('check')].join('\t'))
  }
}
