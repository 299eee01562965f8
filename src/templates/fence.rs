//! What a template may say. Steps are counted while it is rendered, but one step may handle a large value: so every value that
//! is joined, compared, multiplied or cut goes through a function that weighs it (`meter.rs`), which is written in here; and what
//! could grow beyond that is refused. Lines stay as they were.

use minijinja::{
    Error, ErrorKind,
    machinery::{Token, ast, parse, tokenize},
    syntax::SyntaxConfig,
};

use super::meter::{ANY, NUMBER, SCALAR};

/// Longer text belongs into the template itself.
const LONGEST_LITERAL: usize = 10_000;
/// More words in one tag are no sentence.
const MOST_TOKENS: usize = 300;
/// More words in all tags together are a program.
const MOST_IN_ALL: usize = 10_000;
/// Deeper than this nobody nests parentheses.
const DEEPEST_PARENTHESES: usize = 20;
/// Deeper than this nobody nests blocks; every `elif` is one more.
const DEEPEST_BLOCKS: usize = 30;
/// Lists, maps and namespaces that hold other values.
const MOST_COLLECTIONS: usize = 50;

/// Tests that look at their value and not into it.
const TESTS: [&str; 18] = [
    "defined",
    "undefined",
    "none",
    "safe",
    "escaped",
    "boolean",
    "odd",
    "even",
    "divisibleby",
    "number",
    "integer",
    "int",
    "float",
    "string",
    "sequence",
    "iterable",
    "mapping",
    "true",
];

const NO_OTHERS: &str = "templates do not extend or import each other: include a partial";
const NO_MACROS: &str = "macros are not offered: write a partial and include it";

/// Why a template is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// In which line, from 1; 0 = not known.
    pub line: usize,
    /// What is wrong.
    pub description: String,
}

impl Refused {
    pub(super) fn new(line: usize, description: impl Into<String>) -> Self {
        Self { line, description: description.into() }
    }

    pub(super) fn from_error(error: &Error) -> Self {
        let description = match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        };
        Self::new(error.line().unwrap_or(0), description)
    }
}

/// A token, and where it stands.
#[derive(Debug)]
pub(super) struct Placed<'s> {
    pub token: Token<'s>,
    pub start: usize,
    pub end: usize,
    pub line: usize,
}

/// Every token of a template, as far as there are not too many of them.
pub(super) fn tokens(source: &str) -> Result<Vec<Placed<'_>>, Refused> {
    let (mut tokens, mut sizes) = (Vec::new(), Sizes::default());
    for token in tokenize(source, false, SyntaxConfig::default()) {
        let (token, span) = token.map_err(|error| Refused::from_error(&error))?;
        let (start, end) = (span.start_offset as usize, span.end_offset as usize);
        let placed = Placed { token, start, end, line: span.start_line.into() };
        sizes.add(&placed).map_err(|description| Refused::new(placed.line, description))?;
        tokens.push(placed);
    }
    Ok(tokens)
}

/// The template with its values weighed.
pub(super) fn fence(source: &str) -> Result<String, Refused> {
    let tokens = tokens(source)?;
    if !tokens.iter().any(|placed| matches!(placed.token, Token::VariableStart | Token::BlockStart)) {
        return Ok(source.to_owned());
    }
    let parsed = parse(source, "template", SyntaxConfig::default()).map_err(|error| Refused::from_error(&error))?;
    let mut walk = Walk { tokens: &tokens, insertions: Vec::new(), collections: 0 };
    walk.statement(&parsed)?;
    Ok(walk.applied_to(source))
}

/// Neither the parser nor the renderer is to nest too deep, nor to be kept busy.
#[derive(Default)]
struct Sizes {
    all: usize,
    in_tag: usize,
    parentheses: usize,
    /// The levels of each open block.
    blocks: Vec<usize>,
    /// The token before begins a block.
    begins: bool,
}

impl Sizes {
    fn add(&mut self, placed: &Placed<'_>) -> Result<(), String> {
        let begins = std::mem::take(&mut self.begins);
        (self.all, self.in_tag) = (self.all + 1, self.in_tag + 1);
        let mut literal = 0;
        match &placed.token {
            Token::VariableStart => (self.in_tag, self.parentheses) = (0, 0),
            Token::BlockStart => (self.in_tag, self.parentheses, self.begins) = (0, 0, true),
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => self.parentheses += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                self.parentheses = self.parentheses.saturating_sub(1);
            }
            Token::Str(text) => literal = text.len(),
            Token::String(text) => literal = text.len(),
            Token::Ident(name) if begins => self.block(name),
            _ => (),
        }
        match () {
            () if literal > LONGEST_LITERAL => Err(format!("a text in quotes is longer than {LONGEST_LITERAL} bytes")),
            () if self.all > MOST_IN_ALL => Err(format!("there are more than {MOST_IN_ALL} words in tags")),
            () if self.in_tag > MOST_TOKENS => Err(format!("a tag holds more than {MOST_TOKENS} words")),
            () if self.parentheses > DEEPEST_PARENTHESES => {
                Err(format!("parentheses nest deeper than {DEEPEST_PARENTHESES} levels"))
            }
            () if self.blocks.iter().sum::<usize>() > DEEPEST_BLOCKS => {
                Err(format!("blocks nest deeper than {DEEPEST_BLOCKS} levels; every elif is one"))
            }
            () => Ok(()),
        }
    }

    fn block(&mut self, name: &str) {
        match (name, self.blocks.last_mut()) {
            ("for" | "if" | "with", _) => self.blocks.push(1),
            ("elif", Some(levels)) => *levels += 1,
            ("endfor" | "endif" | "endwith", _) => drop(self.blocks.pop()),
            _ => (),
        }
    }
}

/// Looks at everything that a template says.
struct Walk<'t, 's> {
    tokens: &'t [Placed<'s>],
    /// What is written in, and where; outer ones come before inner ones.
    insertions: Vec<(usize, &'static str)>,
    collections: usize,
}

impl<'s> Walk<'_, 's> {
    fn applied_to(mut self, source: &str) -> String {
        self.insertions.sort_by_key(|(at, _)| *at);
        let (mut text, mut done) = (String::with_capacity(source.len() + 8 * self.insertions.len()), 0);
        for (at, insertion) in self.insertions {
            text.push_str(&source[done..at]);
            text.push_str(insertion);
            done = at;
        }
        text + &source[done..]
    }

    fn statements(&mut self, all: &[ast::Stmt<'s>]) -> Result<(), Refused> {
        all.iter().try_for_each(|one| self.statement(one))
    }

    fn statement(&mut self, of: &ast::Stmt<'s>) -> Result<(), Refused> {
        match of {
            ast::Stmt::Template(of) => self.statements(&of.children),
            ast::Stmt::EmitExpr(of) => self.expression(&of.expr),
            ast::Stmt::EmitRaw(_) => Ok(()),
            ast::Stmt::ForLoop(of) => {
                if of.recursive {
                    return refuse(of.span(), "recursive loops are not offered");
                }
                self.expression(&of.iter)?;
                self.optional(of.filter_expr.as_ref())?;
                self.target(&of.target)?;
                self.statements(&of.body)?;
                self.statements(&of.else_body)
            }
            ast::Stmt::IfCond(of) => {
                self.expression(&of.expr)?;
                self.statements(&of.true_body)?;
                self.statements(&of.false_body)
            }
            ast::Stmt::WithBlock(of) => {
                for (target, value) in &of.assignments {
                    self.target(target)?;
                    self.expression(value)?;
                }
                self.statements(&of.body)
            }
            ast::Stmt::Set(of) => self.set(of),
            ast::Stmt::SetBlock(of) => refuse(of.span(), "set takes a value after \"=\"; its long form is not offered"),
            ast::Stmt::AutoEscape(of) => refuse(of.span(), "autoescape is not offered: values are escaped in HTML"),
            ast::Stmt::FilterBlock(of) => refuse(of.span(), "filter blocks are not offered: filter values"),
            ast::Stmt::Do(of) => refuse(of.span(), "do is not offered"),
            ast::Stmt::Include(of) => {
                refuse(of.span(), "include takes the id of a published partial in quotes, and nothing else")
            }
            ast::Stmt::Block(of) => refuse(of.span(), NO_OTHERS),
            ast::Stmt::Extends(of) => refuse(of.span(), NO_OTHERS),
            ast::Stmt::Import(of) => refuse(of.span(), NO_OTHERS),
            ast::Stmt::FromImport(of) => refuse(of.span(), NO_OTHERS),
            ast::Stmt::Macro(of) => refuse(of.span(), NO_MACROS),
            ast::Stmt::CallBlock(of) => refuse(of.span(), NO_MACROS),
        }
    }

    /// What is kept in a namespace outlives its loop, so it must not nest.
    fn set(&mut self, of: &ast::Spanned<ast::Set<'s>>) -> Result<(), Refused> {
        if let ast::Expr::GetAttr(target) = &of.target {
            let after = target.span().end_offset as usize;
            let first = self.at_or_after(after);
            let end = (first..self.tokens.len()).find(|at| matches!(self.tokens[*at].token, Token::BlockEnd));
            if let (Some(Placed { token: Token::Assign, end: start, .. }), Some(end)) = (self.tokens.get(first), end) {
                self.wrap(SCALAR, *start, self.tokens[end].start);
            }
        } else {
            self.target(&of.target)?;
        }
        self.expression(&of.expr)
    }

    fn target(&mut self, of: &ast::Expr<'s>) -> Result<(), Refused> {
        match of {
            ast::Expr::Var(of) => check_name(of.id, of.span()),
            ast::Expr::List(of) => of.items.iter().try_for_each(|item| self.target(item)),
            ast::Expr::Tuple(of) => of.items.iter().try_for_each(|item| self.target(item)),
            other => refuse(other.span(), "only names can be set here"),
        }
    }

    fn optional(&mut self, of: Option<&ast::Expr<'s>>) -> Result<(), Refused> {
        of.map_or(Ok(()), |of| self.expression(of))
    }

    fn expressions<'e>(&mut self, all: impl IntoIterator<Item = &'e ast::Expr<'s>>) -> Result<(), Refused>
    where
        's: 'e,
    {
        all.into_iter().try_for_each(|one| self.expression(one))
    }

    fn expression(&mut self, of: &ast::Expr<'s>) -> Result<(), Refused> {
        match of {
            ast::Expr::Var(of) => check_name(of.id, of.span()),
            ast::Expr::Const(_) => Ok(()),
            ast::Expr::Slice(of) => {
                let start = of.span().start_offset as usize;
                let open = self.find(&of.expr, |token| matches!(token, Token::BracketOpen));
                let open = open.map(|at| self.tokens[at].start);
                self.wrap(ANY, start, open.ok_or_else(|| puzzled(of.span()))?);
                self.expression(&of.expr)?;
                [&of.start, &of.stop, &of.step].into_iter().try_for_each(|part| self.optional(part.as_ref()))
            }
            ast::Expr::UnaryOp(of) => self.expression(&of.expr),
            ast::Expr::BinOp(of) => self.operation(of),
            ast::Expr::Compare(of) => refuse(of.span(), "write two comparisons with \"and\" between them"),
            ast::Expr::IfExpr(of) => {
                self.expression(&of.test_expr)?;
                self.expression(&of.true_expr)?;
                self.optional(of.false_expr.as_ref())
            }
            ast::Expr::Filter(of) => {
                check_name(of.name, of.span())?;
                self.optional(of.expr.as_ref())?;
                self.arguments(&of.args)
            }
            ast::Expr::Test(of) => {
                if !TESTS.contains(&of.name) && of.name != "false" {
                    return refuse(of.span(), format!("the test {} is not offered: write an operator", of.name));
                }
                self.expression(&of.expr)?;
                self.arguments(&of.args)
            }
            ast::Expr::GetAttr(of) => self.expression(&of.expr),
            ast::Expr::GetItem(of) => {
                self.expression(&of.expr)?;
                self.expression(&of.subscript_expr)
            }
            ast::Expr::Call(of) => self.call(of),
            ast::Expr::List(of) => {
                self.collect(of.as_const().is_some(), of.span())?;
                self.expressions(&of.items)
            }
            ast::Expr::Tuple(of) => {
                self.collect(of.as_const().is_some(), of.span())?;
                self.expressions(&of.items)
            }
            ast::Expr::Map(of) => {
                self.collect(of.as_const().is_some(), of.span())?;
                self.expressions(of.keys.iter().chain(&of.values))
            }
        }
    }

    fn operation(&mut self, of: &ast::Spanned<ast::BinOp<'s>>) -> Result<(), Refused> {
        use ast::BinOpKind::{Add, Concat, Eq, Gt, Gte, In, Lt, Lte, Mul, Ne};
        let span = of.span();
        let (start, meter) = match of.op {
            Mul => (span.start_offset as usize, NUMBER),
            Add | Concat => (span.start_offset as usize, ANY),
            // The span of a comparison begins at the token before it.
            Eq | Ne | Lt | Lte | Gt | Gte | In => {
                let before = self.at_or_after(span.start_offset as usize);
                (self.tokens.get(before + 1).ok_or_else(|| puzzled(span))?.start, ANY)
            }
            _ => {
                self.expression(&of.left)?;
                return self.expression(&of.right);
            }
        };
        let first = self.find(&of.left, is_operator).ok_or_else(|| puzzled(span))?;
        let negated = matches!(self.tokens[first].token, Token::Ident("not"));
        let last = if negated { first + 1 } else { first };
        let after = self.tokens.get(last).ok_or_else(|| puzzled(span))?.end;
        self.wrap(meter, start, self.tokens[first].start);
        self.wrap(meter, after, span.end_offset as usize);
        self.expression(&of.left)?;
        self.expression(&of.right)
    }

    fn call(&mut self, of: &ast::Spanned<ast::Call<'s>>) -> Result<(), Refused> {
        match &of.expr {
            ast::Expr::Var(name) if matches!(name.id, "namespace" | "dict") => self.collect(false, of.span())?,
            ast::Expr::GetAttr(method) if method.name == "cycle" && is_loop(&method.expr) => (),
            _ => return refuse(of.span(), "nothing can be called but namespace, dict and loop.cycle"),
        }
        self.arguments(&of.args)
    }

    fn arguments(&mut self, all: &[ast::CallArg<'s>]) -> Result<(), Refused> {
        all.iter().try_for_each(|one| match one {
            ast::CallArg::Pos(value) | ast::CallArg::Kwarg(_, value) => self.expression(value),
            ast::CallArg::PosSplat(value) | ast::CallArg::KwargSplat(value) => {
                refuse(value.span(), "arguments must be written one by one")
            }
        })
    }

    /// Values that hold values nest, so there is a limit to them.
    fn collect(&mut self, constant: bool, span: minijinja::machinery::Span) -> Result<(), Refused> {
        self.collections += usize::from(!constant);
        if self.collections > MOST_COLLECTIONS {
            return refuse(span, format!("more than {MOST_COLLECTIONS} lists, maps and namespaces are made"));
        }
        Ok(())
    }

    /// What stands from `start` to `end` goes through a function.
    fn wrap(&mut self, function: &'static str, start: usize, end: usize) {
        self.insertions.push((start, function));
        self.insertions.push((end, ")"));
    }

    fn at_or_after(&self, offset: usize) -> usize {
        self.tokens.partition_point(|placed| placed.start < offset)
    }

    /// The first token after an operand and the parentheses that it stands in.
    fn find(&self, operand: &ast::Expr<'s>, wanted: impl Fn(&Token<'s>) -> bool) -> Option<usize> {
        let first = self.at_or_after(operand.span().end_offset as usize);
        (first..self.tokens.len())
            .find(|at| !matches!(self.tokens[*at].token, Token::ParenClose | Token::BracketClose | Token::BraceClose))
            .filter(|at| wanted(&self.tokens[*at].token))
    }
}

fn is_operator(token: &Token<'_>) -> bool {
    use Token::{Eq, Gt, Gte, Ident, Lt, Lte, Mul, Ne, Plus, Tilde};
    matches!(token, Plus | Tilde | Mul | Eq | Ne | Lt | Lte | Gt | Gte | Ident("in" | "not"))
}

fn is_loop(of: &ast::Expr<'_>) -> bool {
    matches!(of, ast::Expr::Var(name) if name.id == "loop")
}

fn check_name(name: &str, span: minijinja::machinery::Span) -> Result<(), Refused> {
    if name.starts_with('_') { refuse(span, "names must not begin with an underscore") } else { Ok(()) }
}

fn refuse<T>(span: minijinja::machinery::Span, description: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::new(span.start_line.into(), description))
}

fn puzzled(span: minijinja::machinery::Span) -> Refused {
    Refused::new(span.start_line.into(), format!("{}: write it in a simpler way", ErrorKind::SyntaxError))
}
