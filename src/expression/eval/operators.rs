//! Arithmetic, order and equality, as CEL has them: types are strict, overflow is an error, and
//! numbers of different types can be compared.

use super::super::budget::BYTES_A_STEP;
use super::super::error::EvalError;
use super::super::ir::Operator;
use super::super::json::Field;
use super::super::value::{Blob, List, Map, Text, Value};
use super::{Eval, Result};
use std::cmp::Ordering;
use std::mem::size_of;

impl<'s> Eval<'s> {
    pub(super) fn binary(
        &self,
        operator: Operator,
        left: &Value<'s>,
        right: &Value<'s>,
    ) -> Result<Value<'s>> {
        let ordered = |is: fn(Ordering) -> bool| {
            let order = self.order(operator, left, right)?;
            Ok(Value::Bool(order.is_some_and(is)))
        };
        match operator {
            Operator::Equal => Ok(Value::Bool(self.equal(left, right)?)),
            Operator::NotEqual => Ok(Value::Bool(!self.equal(left, right)?)),
            Operator::Less => ordered(Ordering::is_lt),
            Operator::LessEqual => ordered(Ordering::is_le),
            Operator::Greater => ordered(Ordering::is_gt),
            Operator::GreaterEqual => ordered(Ordering::is_ge),
            Operator::Add => self.add(left, right),
            _ => self.arithmetic(operator, left, right),
        }
    }

    fn operands<T>(&self, operator: Operator, left: &Value<'_>, right: &Value<'_>) -> Result<T> {
        let operator = operator.sign();
        if matches!(left, Value::Huge(_)) || matches!(right, Value::Huge(_)) {
            return self.fail(EvalError::HugeNumber { operator });
        }
        self.fail(EvalError::Operands {
            operator,
            left: left.kind(),
            right: right.kind(),
        })
    }

    fn add(&self, left: &Value<'s>, right: &Value<'s>) -> Result<Value<'s>> {
        match (left, right) {
            (Value::Text(a), Value::Text(b)) => {
                self.budget().build(a.len() + b.len())?;
                let joined: String = [&**a, &**b].concat();
                Ok(Value::Text(Text::Built(joined.into())))
            }
            (Value::Bytes(a), Value::Bytes(b)) => {
                self.budget().build(a.len() + b.len())?;
                let joined: Vec<u8> = [&**a, &**b].concat();
                Ok(Value::Bytes(Blob::Built(joined.into())))
            }
            (Value::List(a), Value::List(b)) => {
                let len = a.len() + b.len();
                self.budget().charge(len as u64)?;
                self.budget().build(len * size_of::<Value>())?;
                let joined: Vec<Value<'s>> = a.iter().chain(b.iter()).collect();
                Ok(Value::List(List::Built(joined.into())))
            }
            _ => self.arithmetic(Operator::Add, left, right),
        }
    }

    fn arithmetic(
        &self,
        operator: Operator,
        left: &Value<'s>,
        right: &Value<'s>,
    ) -> Result<Value<'s>> {
        let whole = match (left, right) {
            (Value::Int(a), Value::Int(b)) => {
                self.check_divisor(operator, *b == 0)?;
                int(operator, *a, *b).map(Value::Int)
            }
            (Value::Uint(a), Value::Uint(b)) => {
                self.check_divisor(operator, *b == 0)?;
                uint(operator, *a, *b).map(Value::Uint)
            }
            (Value::Double(a), Value::Double(b)) => {
                return match double(operator, *a, *b) {
                    Some(number) => Ok(Value::Double(number)),
                    None => self.operands(operator, left, right),
                };
            }
            _ => return self.operands(operator, left, right),
        };
        match whole {
            Some(value) => Ok(value),
            None => self.fail(EvalError::Overflow {
                operator: operator.sign(),
            }),
        }
    }

    fn check_divisor(&self, operator: Operator, is_zero: bool) -> Result<()> {
        if is_zero && matches!(operator, Operator::Divide | Operator::Modulo) {
            return self.fail(EvalError::DivisionByZero);
        }
        Ok(())
    }

    pub(super) fn negate(&self, value: &Value<'s>) -> Result<Value<'s>> {
        match value {
            Value::Int(number) => match number.checked_neg() {
                Some(number) => Ok(Value::Int(number)),
                None => self.fail(EvalError::Overflow { operator: "-" }),
            },
            Value::Double(number) => Ok(Value::Double(-number)),
            Value::Huge(_) => self.fail(EvalError::HugeNumber { operator: "-" }),
            other => self.fail(EvalError::Type {
                what: "what stands behind `-`".to_owned(),
                expected: "a number with a sign",
                found: other.kind(),
            }),
        }
    }

    /// `None` beside a number that is none.
    fn order(
        &self,
        operator: Operator,
        left: &Value<'_>,
        right: &Value<'_>,
    ) -> Result<Option<Ordering>> {
        if let Some(order) = numbers(left, right) {
            return Ok(order);
        }
        match (left, right) {
            (Value::Text(a), Value::Text(b)) => {
                self.charge_bytes(a.len().min(b.len()))?;
                Ok(Some((**a).cmp(&**b)))
            }
            (Value::Bytes(a), Value::Bytes(b)) => {
                self.charge_bytes(a.len().min(b.len()))?;
                Ok(Some((**a).cmp(&**b)))
            }
            (Value::Bool(a), Value::Bool(b)) => Ok(Some(a.cmp(b))),
            _ => self.operands(operator, left, right),
        }
    }

    fn charge_bytes(&self, bytes: usize) -> Result<()> {
        self.budget().charge_part(bytes, BYTES_A_STEP)
    }

    pub(super) fn equal(&self, left: &Value<'s>, right: &Value<'s>) -> Result<bool> {
        self.budget().charge(1)?;
        if let Some(order) = numbers(left, right) {
            return Ok(order == Some(Ordering::Equal));
        }
        match (left, right) {
            (Value::Text(a), Value::Text(b)) => {
                self.charge_bytes(a.len().min(b.len()))?;
                Ok(**a == **b)
            }
            (Value::Bytes(a), Value::Bytes(b)) => {
                self.charge_bytes(a.len().min(b.len()))?;
                Ok(**a == **b)
            }
            (Value::Null, Value::Null) => Ok(true),
            (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
            (Value::Type(a), Value::Type(b)) => Ok(a == b),
            (Value::List(a), Value::List(b)) => self.equal_lists(a, b),
            (Value::Map(a), Value::Map(b)) => self.equal_maps(a, b),
            _ => Ok(false),
        }
    }

    fn equal_lists(&self, left: &List<'s>, right: &List<'s>) -> Result<bool> {
        if left.len() != right.len() {
            return Ok(false);
        }
        for (a, b) in left.iter().zip(right.iter()) {
            if !self.equal(&a, &b)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn equal_maps(&self, left: &Map<'s>, right: &Map<'s>) -> Result<bool> {
        if left.len() != right.len() {
            return Ok(false);
        }
        // The names of one that is read from JSON may stand twice: of both, each is looked up.
        Ok(self.is_within(left, right)? && self.is_within(right, left)?)
    }

    fn is_within(&self, part: &Map<'s>, whole: &Map<'s>) -> Result<bool> {
        match part {
            Map::Json(it) => {
                for (name, value) in it.entries() {
                    let other = self.built_entry(whole, &Value::text(name))?;
                    let is_equal = match other {
                        Some(other) => self.equal(&Value::json(value), &other)?,
                        None => false,
                    };
                    if !is_equal {
                        return Ok(false);
                    }
                }
            }
            Map::Built(entries) => {
                for (key, value) in &**entries {
                    let is_equal = match self.built_entry(whole, key)? {
                        Some(other) => self.equal(value, &other)?,
                        None => false,
                    };
                    if !is_equal {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// The value of any key of any object.
    pub(super) fn built_entry(&self, map: &Map<'s>, key: &Value<'_>) -> Result<Option<Value<'s>>> {
        match (map, key) {
            (Map::Json(it), Value::Text(name)) => match it.field(name, self.budget())? {
                Field::Value(value) => Ok(Some(Value::json(value))),
                Field::Twice => self.fail(EvalError::Twice {
                    path: "(…)".to_owned(),
                }),
                Field::Absent | Field::NoMap => Ok(None),
            },
            (Map::Json(_), _) => Ok(None),
            (Map::Built(entries), key) => {
                let name = match key {
                    Value::Text(name) => name,
                    _ => "",
                };
                self.budget().charge_passed(entries.len(), name)?;
                let found = entries.iter().find(|(other, _)| is_key(other, key));
                Ok(found.map(|(_, value)| value.clone()))
            }
        }
    }

    pub(super) fn is_in(&self, what: &Value<'s>, whole: &Value<'s>) -> Result<Value<'s>> {
        match whole {
            Value::List(list) => {
                for value in list.iter() {
                    if self.equal(what, &value)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            Value::Map(map) => Ok(Value::Bool(self.built_entry(map, what)?.is_some())),
            other => self.fail(EvalError::Type {
                what: "what stands behind `in`".to_owned(),
                expected: "a list or an object",
                found: other.kind(),
            }),
        }
    }
}

fn is_key(one: &Value<'_>, other: &Value<'_>) -> bool {
    match (one, other) {
        (Value::Text(a), Value::Text(b)) => **a == **b,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        _ => numbers(one, other) == Some(Some(Ordering::Equal)),
    }
}

fn int(operator: Operator, a: i64, b: i64) -> Option<i64> {
    match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => a.checked_div(b),
        _ => a.checked_rem(b),
    }
}

fn uint(operator: Operator, a: u64, b: u64) -> Option<u64> {
    match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => a.checked_div(b),
        _ => a.checked_rem(b),
    }
}

fn double(operator: Operator, a: f64, b: f64) -> Option<f64> {
    match operator {
        Operator::Add => Some(a + b),
        Operator::Subtract => Some(a - b),
        Operator::Multiply => Some(a * b),
        Operator::Divide => Some(a / b),
        // CEL has no remainder of doubles.
        _ => None,
    }
}

/// How two numbers lie on one line, whatever their types: `None` if one is no number,
/// `Some(None)` beside NaN.
fn numbers(left: &Value<'_>, right: &Value<'_>) -> Option<Option<Ordering>> {
    Some(match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Int(a), Value::Double(b)) => with_double(i128::from(*a), *b),
        (Value::Uint(a), Value::Double(b)) => with_double(i128::from(*a), *b),
        (Value::Double(a), Value::Int(b)) => with_double(i128::from(*b), *a).map(Ordering::reverse),
        (Value::Double(a), Value::Uint(b)) => {
            with_double(i128::from(*b), *a).map(Ordering::reverse)
        }
        (Value::Huge(a), Value::Huge(b)) => Some(digits(a, b)),
        (Value::Huge(a), Value::Int(_) | Value::Uint(_)) => Some(side(a)),
        (Value::Int(_) | Value::Uint(_), Value::Huge(b)) => Some(side(b).reverse()),
        (Value::Huge(a), Value::Double(b)) => a.parse::<f64>().ok()?.partial_cmp(b),
        (Value::Double(a), Value::Huge(b)) => a.partial_cmp(&b.parse::<f64>().ok()?),
        _ => return None,
    })
}

/// Exactly: neither side is rounded.
fn with_double(whole: i128, double: f64) -> Option<Ordering> {
    const BEYOND: f64 = 1e30;
    if double.is_nan() {
        return None;
    }
    if double.abs() >= BEYOND {
        return 0.0.partial_cmp(&double);
    }
    let order = whole.cmp(&(double.trunc() as i128));
    Some(order.then_with(|| 0.0.partial_cmp(&double.fract()).unwrap_or(Ordering::Equal)))
}

/// Which side of all that 64 bits hold the digits are on.
fn side(digits: &str) -> Ordering {
    if digits.starts_with('-') {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}

/// Two whole numbers by their digits; JSON has no leading zeros.
fn digits(a: &str, b: &str) -> Ordering {
    let size = |a: &str, b: &str| a.len().cmp(&b.len()).then_with(|| a.cmp(b));
    match (a.strip_prefix('-'), b.strip_prefix('-')) {
        (None, None) => size(a, b),
        (Some(a), Some(b)) => size(b, a),
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
    }
}
