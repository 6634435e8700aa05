//! Expressions of the metric math of AWS, as far as templates use them: numbers, names, `+ - * /`, comparisons, `AND`,
//! `OR`, `IF`, `FILL`, `MAX`, `MIN`, `CEIL`, `FLOOR`.
//!
//! A metric that has no value at a moment makes what is reckoned with it missing too; `FILL` gives it one.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

/// The metrics at one moment. `None`: no value came.
pub type Values = BTreeMap<String, Option<f64>>;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    Number(f64),
    Metric(String),
    Binary(Operator, Box<Self>, Box<Self>),
    Call(Function, Vec<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    And,
    Or,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    If,
    Fill,
    Max,
    Min,
    Ceil,
    Floor,
}

impl Expression {
    pub fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser {
            tokens: tokens(text)?,
            at: 0,
        };
        let whole = parser.binary(0)?;
        ensure!(
            parser.at == parser.tokens.len(),
            "`{text}` goes on after its end"
        );
        Ok(whole)
    }

    /// Its value at one moment; `None` when a metric that counts is missing.
    pub fn value(&self, values: &Values) -> Option<f64> {
        match self {
            Self::Number(it) => Some(*it),
            Self::Metric(name) => values.get(name).copied().flatten(),
            Self::Binary(operator, a, b) => {
                let (a, b) = (a.value(values)?, b.value(values)?);
                operator.of(a, b)
            }
            Self::Call(Function::Fill, given) => given.iter().find_map(|it| it.value(values)),
            Self::Call(Function::If, given) => {
                let is_so = given[0].value(values)? != 0.0;
                given[if is_so { 1 } else { 2 }].value(values)
            }
            Self::Call(function, given) => {
                let given: Option<Vec<f64>> = given.iter().map(|it| it.value(values)).collect();
                let given = given?.into_iter();
                match function {
                    Function::Max => given.reduce(f64::max),
                    Function::Min => given.reduce(f64::min),
                    Function::Ceil => given.map(f64::ceil).next(),
                    Function::Floor | Function::If | Function::Fill => given.map(f64::floor).next(),
                }
            }
        }
    }
}

impl Operator {
    fn of(self, a: f64, b: f64) -> Option<f64> {
        let truth = |it: bool| Some(f64::from(it));
        match self {
            Self::Add => Some(a + b),
            Self::Subtract => Some(a - b),
            Self::Multiply => Some(a * b),
            // AWS leaves such a point out.
            Self::Divide => (b != 0.0).then(|| a / b),
            Self::Less => truth(a < b),
            Self::LessOrEqual => truth(a <= b),
            Self::Greater => truth(a > b),
            Self::GreaterOrEqual => truth(a >= b),
            Self::Equal => truth((a - b).abs() < f64::EPSILON),
            Self::NotEqual => truth((a - b).abs() >= f64::EPSILON),
            Self::And => truth(a != 0.0 && b != 0.0),
            Self::Or => truth(a != 0.0 || b != 0.0),
        }
    }

    /// The operator of a token, and how tightly it binds.
    fn of_token(token: &str) -> Option<(Self, u8)> {
        Some(match token {
            "OR" | "||" => (Self::Or, 1),
            "AND" | "&&" => (Self::And, 2),
            "<" => (Self::Less, 3),
            "<=" => (Self::LessOrEqual, 3),
            ">" => (Self::Greater, 3),
            ">=" => (Self::GreaterOrEqual, 3),
            "==" => (Self::Equal, 3),
            "!=" => (Self::NotEqual, 3),
            "+" => (Self::Add, 4),
            "-" => (Self::Subtract, 4),
            "*" => (Self::Multiply, 5),
            "/" => (Self::Divide, 5),
            _ => return None,
        })
    }
}

struct Parser {
    tokens: Vec<String>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn take(&mut self, wanted: &str) -> Result<()> {
        ensure!(
            self.peek() == Some(wanted),
            "`{wanted}` is missing before {:?}",
            self.peek()
        );
        self.at += 1;
        Ok(())
    }

    /// Operators that bind at least so tightly, from the left.
    fn binary(&mut self, least: u8) -> Result<Expression> {
        let mut left = self.single()?;
        while let Some((operator, binds)) = self.peek().and_then(Operator::of_token) {
            if binds < least {
                break;
            }
            self.at += 1;
            let right = self.binary(binds + 1)?;
            left = Expression::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn single(&mut self) -> Result<Expression> {
        let Some(token) = self.peek().map(str::to_owned) else {
            bail!("the expression ends too early");
        };
        self.at += 1;
        if token == "(" {
            let inner = self.binary(0)?;
            self.take(")")?;
            return Ok(inner);
        }
        if let Ok(number) = token.parse() {
            return Ok(Expression::Number(number));
        }
        if self.peek() != Some("(") {
            ensure!(
                token.starts_with(|c: char| c.is_ascii_lowercase()),
                "`{token}` is no name of a metric"
            );
            return Ok(Expression::Metric(token));
        }
        self.call(&token)
    }

    fn call(&mut self, name: &str) -> Result<Expression> {
        let (function, n) = match name {
            "IF" => (Function::If, 3..=3),
            "FILL" => (Function::Fill, 2..=2),
            "MAX" => (Function::Max, 1..=9),
            "MIN" => (Function::Min, 1..=9),
            "CEIL" => (Function::Ceil, 1..=1),
            "FLOOR" => (Function::Floor, 1..=1),
            other => bail!("`{other}` is not among the functions that are known here"),
        };
        self.take("(")?;
        let mut given = Vec::new();
        loop {
            // Lists in brackets stand for their members.
            let is_list = self.peek() == Some("[");
            self.at += usize::from(is_list);
            given.push(self.binary(0)?);
            if self.peek() == Some("]") {
                self.at += 1;
            }
            if self.peek() != Some(",") {
                break;
            }
            self.at += 1;
        }
        self.take(")")?;
        ensure!(
            n.contains(&given.len()),
            "{name} is given {} things",
            given.len()
        );
        Ok(Expression::Call(function, given))
    }
}

fn tokens(text: &str) -> Result<Vec<String>> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(&c) = rest.peek() {
        let mut token = String::new();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if c.is_whitespace() {
            rest.next();
            continue;
        }
        if is_word(c) {
            while let Some(c) = rest.next_if(|c| is_word(*c)) {
                token.push(c);
            }
        } else if "<>=!&|".contains(c) {
            while let Some(c) = rest.next_if(|c| "<>=!&|".contains(*c)) {
                token.push(c);
            }
        } else {
            ensure!("()+-*/,[]".contains(c), "`{c}` means nothing in `{text}`");
            token.extend(rest.next());
        }
        tokens.push(token);
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, given: &[(&str, f64)]) -> Option<f64> {
        let values = given
            .iter()
            .map(|(name, it)| ((*name).to_owned(), Some(*it)))
            .collect();
        Expression::parse(text).unwrap().value(&values)
    }

    #[test]
    fn it_reckons_as_people_write() {
        assert_eq!(value("1 + 2 * 3 - 4 / 2", &[]), Some(5.0));
        assert_eq!(value("(1 + 2) * 3", &[]), Some(9.0));
        assert_eq!(value("8 - 4 - 2", &[]), Some(2.0));
        assert_eq!(value("1 / 0", &[]), None);
        assert_eq!(
            value(
                "CEIL((waiting + leased) / 3)",
                &[("waiting", 4.0), ("leased", 1.0)]
            ),
            Some(2.0)
        );
        assert_eq!(value("MAX([a, 2])", &[("a", 1.0)]), Some(2.0));
    }

    #[test]
    fn the_wake_up_call_hears_only_when_nobody_is_there() {
        let text = "IF((waiting + leased) > 0 AND FILL(tasks, 0) < 1, 1, 0)";
        assert_eq!(value(text, &[("waiting", 1.0), ("leased", 0.0)]), Some(1.0));
        let some = [("waiting", 1.0), ("leased", 0.0), ("tasks", 1.0)];
        assert_eq!(value(text, &some), Some(0.0));
        // The janitor is silent: nothing is known, so nothing is said.
        assert_eq!(value(text, &[("tasks", 0.0)]), None);
    }

    #[test]
    fn what_is_not_understood_is_told() {
        for text in ["1 +", "RATE(m1)", "a b", "IF(1, 2)", "a ; b"] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
    }
}
