#!/usr/bin/env node
// Compares the HTML that the service makes of MJML with that of the reference, document by document.
//
// Usage: mjml.cjs FIXTURES RENDERED DIFFERENCES
//   FIXTURES     the folder of documents
//   RENDERED     the folder of what the service made: NAME.html, or NAME.refused with the reason
//   DIFFERENCES  the differences that are known, as tests/data/mjml/README.md describes them

'use strict'

const fs = require('node:fs')
const path = require('node:path')
const { createRequire } = require('node:module')

// The packages stand where .ci/run installed them.
const require_there = createRequire(path.join(__dirname, '.tools', 'node_modules', 'here.js'))
const mjml = require_there('mjml')
const parse5 = require_there('parse5')

// Names that are made up anew each time. They are replaced before anything is put in order, which they would change.
const MADE_UP = [
  [/(mj-carousel|carousel-radio|carousel)-[0-9a-f]{8,16}(?![0-9a-f])/g, '$1-ID'],
  [/(for|id)="[0-9a-f]{8,16}"/g, '$1="ID"'],
]

// What means the same, however it is written.
const SAME = [
  // A class or a style without anything in it.
  [/ (class|style)=""/g, ''],
  // Widths beyond the fifth digit: the one computes with 64 bits, the other with 32.
  [/(\d+[.-]\d{4})\d+/g, '$1'],
  [/(\d)\.0+(?=%|px)/g, '$1'],
  // Spaces in styles.
  [/ *! *important/g, '!important'],
  [/ *\+ *(?=[*.#\w])/g, '+'],
]

const CONDITION = /^\s*(\[if [^\]]*\]>)([\s\S]*?)(<!\[endif\])?\s*$/

function main(fixtures, rendered, known) {
  const rules = JSON.parse(fs.readFileSync(known, 'utf8')).map((rule) => ({ ...rule, expression: new RegExp(rule.pattern, 'g'), used: 0 }))
  const everywhere = rules.filter((rule) => rule.replacement !== undefined)
  const here = rules.filter((rule) => rule.replacement === undefined)
  const names = fs.readdirSync(fixtures).filter((name) => name.endsWith('.mjml')).map((name) => name.slice(0, -5)).sort()
  let same = 0
  let explained = 0
  const unexplained = []
  for (const name of names) {
    const differences = compare(name, fixtures, rendered, [])
    const left = differences.length ? compare(name, fixtures, rendered, everywhere) : []
    const open = left.filter((line) => !explain(here, name, line))
    if (!differences.length) same += 1
    else if (!open.length) explained += 1
    // A rule is needed where without it more is left.
    everywhere.forEach((rule) => {
      if (left.length < differences.length && differences.some((line) => line.replace(rule.expression, rule.replacement) !== line)) rule.used += 1
    })
    open.forEach((line) => unexplained.push(`${name}: ${line}`))
  }
  console.log(`${names.length} documents: ${same} are the same, ${explained} differ as differences.json says`)
  for (const rule of rules) {
    console.log(`  ${rule.used} times: ${rule.reason}`)
    if (!rule.used) unexplained.push(`no document shows this any more: ${rule.reason}`)
  }
  if (names.length < 100) unexplained.push('there are hardly any documents')
  if (unexplained.length) {
    console.error(`${unexplained.length} differences that nothing explains:\n${unexplained.slice(0, Number(process.env.MOST || 200)).join('\n')}`)
    process.exit(1)
  }
}

function explain(rules, name, line) {
  const rule = rules.find((rule) => rule.fixtures.includes(name) && line.search(rule.expression) >= 0)
  if (rule) rule.used += 1
  return rule
}

// Lines that only one of them has: "-" the reference, "+" the service.
function compare(name, fixtures, rendered, rules) {
  const refused = path.join(rendered, `${name}.refused`)
  if (fs.existsSync(refused)) return [`refused: ${fs.readFileSync(refused, 'utf8').trim()}`]
  const source = fs.readFileSync(path.join(fixtures, `${name}.mjml`), 'utf8')
  let reference
  try {
    reference = mjml(source, { validationLevel: 'skip', filePath: fixtures }).html
  } catch (error) {
    return [`the reference refuses it: ${error.message}`]
  }
  const ours = fs.readFileSync(path.join(rendered, `${name}.html`), 'utf8')
  const told = (all) => all.map((line) => rules.reduce((text, rule) => text.replace(rule.expression, rule.replacement), line))
  return difference(told(lines(reference)), told(lines(ours)))
}

function lines(html) {
  const out = []
  walk(parse5.parse(replaced(html, MADE_UP)), '', out)
  return out.map((line) => replaced(line, SAME))
}

function replaced(text, patterns) {
  return patterns.reduce((text, [pattern, other]) => text.replace(pattern, other), text)
}

function walk(node, place, out) {
  for (const child of node.childNodes || []) {
    if (child.nodeName === '#text') {
      const text = child.value.replace(/\s+/g, ' ').trim()
      if (!text) continue
      if (node.nodeName === 'style') css(text).forEach((rule) => out.push(`${place} css ${rule}`))
      else out.push(`${place} "${text}"`)
    } else if (child.nodeName === '#comment') {
      comment(child.data, place, out)
    } else if (child.nodeName !== '#documentType') {
      element(child, place, out)
    }
  }
}

function element(node, place, out) {
  const attributes = node.attrs
    .map(({ name, value }) => (name === 'class' ? { name, value: value.split(/\s+/).sort().join(' ') } : { name, value }))
    .map(({ name, value }) => (name === 'style' ? [name, declarations(value)] : [name, value.replace(/\s+/g, ' ').trim()]))
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, value]) => ` ${name}="${value}"`)
  const here = `${place}/${node.nodeName}`
  out.push(`${here}${attributes.join('')}`)
  walk(node.content || node, here, out)
}

// What stands in a condition may begin in one and end in another, so it is read tag by tag.
function comment(data, place, out) {
  const condition = CONDITION.exec(data)
  if (!condition) {
    if (data.trim()) out.push(`${place} comment ${data.replace(/\s+/g, ' ').trim()}`)
    return
  }
  const [, begins, inside] = condition
  for (const tag of inside.match(/<[^>]*>|[^<]+/g) || []) {
    const text = tag.replace(/\s+/g, ' ').replace(/ ?\/?>$/, '>').trim()
    if (!text) continue
    out.push(`${place} ${begins} ${text.startsWith('<') && !text.startsWith('</') ? sorted(text) : text}`)
  }
}

function sorted(tag) {
  const attributes = [...tag.matchAll(/([\w:-]+)="([^"]*)"/g)].map(([, name, value]) => `${name}="${name === 'style' ? declarations(value) : value.trim()}"`)
  return [/^<[\w:]+/.exec(tag)?.[0] ?? tag, ...attributes.sort()].join(' ')
}

function declarations(text) {
  return text
    .split(/;(?![^(]*\))/)
    .map((one) => one.trim().replace(/\s*:\s*/, ':').replace(/\s+/g, ' '))
    .filter(Boolean)
    .sort()
    .join(';')
}

function css(text) {
  const rules = []
  let depth = 0
  let start = 0
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === '{') depth += 1
    if (text[at] === '}') depth -= 1
    if (depth === 0 && (text[at] === '}' || text[at] === ';')) {
      rules.push(inner(text.slice(start, at + 1)).replace(/\s*([{}:;,>])\s*/g, '$1').replace(/;}/g, '}').trim())
      start = at + 1
    }
  }
  return rules.filter((rule) => rule && rule !== ';').sort()
}

// Rules for one medium are for different elements each, so their order means nothing.
function inner(rule) {
  const [, begin, all] = /^(\s*@media[^{]*\{)([\s\S]*)\}$/.exec(rule) || []
  return begin ? `${begin}${css(all).join('')}}` : rule
}

// The longest row of lines that both have stays; the rest is the difference.
function difference(one, other) {
  const length = Array.from({ length: one.length + 1 }, () => new Uint16Array(other.length + 1))
  for (let i = one.length - 1; i >= 0; i -= 1) {
    for (let j = other.length - 1; j >= 0; j -= 1) {
      length[i][j] = one[i] === other[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1])
    }
  }
  const out = []
  let i = 0
  let j = 0
  while (i < one.length || j < other.length) {
    if (i < one.length && j < other.length && one[i] === other[j]) {
      i += 1
      j += 1
    } else if (j >= other.length || (i < one.length && length[i + 1][j] >= length[i][j + 1])) {
      out.push(`- ${one[i]}`)
      i += 1
    } else {
      out.push(`+ ${other[j]}`)
      j += 1
    }
  }
  return out
}

if (process.argv.length !== 5) {
  console.error(fs.readFileSync(__filename, 'utf8').split('\n').slice(1, 8).join('\n'))
  process.exit(2)
}
main(...process.argv.slice(2))
