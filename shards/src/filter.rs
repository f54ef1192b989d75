//! Conditions on the columns of a row, such as `similarity >= 0.3`: which rows of a file belong to the dataset.

use crate::error::{Error, Result};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, cast::AsArray, types::*};
use arrow_schema::{DataType, Schema};
use std::cmp::Ordering;

/// The column in which img2dataset notes what became of a row, and what it says of a good one.
const STATUS: (&str, &str) = ("status", "success");

/// Conditions that a row has to meet, all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq)]
struct Condition {
    column: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Number(Operator, f64),
    Text(Operator, String),
    Null(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    AtLeast,
    AtMost,
    NotEqual,
    Equal,
    Above,
    Below,
}

/// The longer ones first, so that none is found inside another.
const OPERATORS: [(&str, Operator); 7] = [
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("!=", Operator::NotEqual),
    ("==", Operator::Equal),
    (">", Operator::Above),
    ("<", Operator::Below),
    ("=", Operator::Equal),
];

impl Operator {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::AtLeast => order.is_ge(),
            Self::AtMost => order.is_le(),
            Self::NotEqual => order.is_ne(),
            Self::Equal => order.is_eq(),
            Self::Above => order.is_gt(),
            Self::Below => order.is_lt(),
        }
    }
}

impl Filter {
    /// Reads conditions: `column operator value` with `>= <= > < == !=` and a number or a 'text', or `column is null` and
    /// `column is not null`.
    ///
    /// # Errors
    /// [`Error::Value`] for one that is none of these.
    pub fn parse(conditions: &[String]) -> Result<Self> {
        let conditions = conditions.iter().map(|text| {
            condition(text).ok_or_else(|| Error::Value {
                name: "data.filter",
                value: text.clone(),
                reason:
                    "give a column, one of >= <= > < == !=, and a number or 'text'; or `column is not null`"
                        .into(),
            })
        });
        Ok(Self { conditions: conditions.collect::<Result<_>>()? })
    }

    /// With the condition that img2dataset's files call for, unless one on its `status` column is given: rows that could not be
    /// fetched are kept there without an image.
    pub fn for_schema(&self, schema: &Schema) -> Self {
        let (column, good) = STATUS;
        let given = self.conditions.iter().any(|condition| condition.column == column);
        let there = schema.column_with_name(column).is_some_and(|(_, field)| is_text(field.data_type()));
        let mut whole = self.clone();
        if there && !given {
            let test = Test::Text(Operator::Equal, good.into());
            whole.conditions.push(Condition { column: column.into(), test });
        }
        whole
    }

    /// Every row passes.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The indices of its columns among the top-level ones of `schema`.
    ///
    /// # Errors
    /// [`Error::Column`] for one that is not there or can't be compared with the value; `file` is for the message.
    pub fn columns(&self, schema: &Schema, file: &str) -> Result<Vec<usize>> {
        let found = self.conditions.iter().map(|condition| {
            let fits = |kind: &DataType| match condition.test {
                Test::Number(..) => kind.is_numeric(),
                Test::Text(..) => is_text(kind),
                Test::Null(_) => true,
            };
            let (kind, wanted) = match condition.test {
                Test::Number(..) => ("numeric", condition.column.clone()),
                Test::Text(..) => ("text", condition.column.clone()),
                Test::Null(_) => ("filter", condition.column.clone()),
            };
            let column =
                schema.column_with_name(&condition.column).filter(|(_, field)| fits(field.data_type()));
            column.map(|(index, _)| index).ok_or_else(|| Error::Column {
                file: file.into(),
                kind,
                wanted,
                found: crate::columns::described(schema),
                knob: "data.filter",
            })
        });
        found.collect()
    }

    /// Which rows of `batch`, which has the filter's columns, pass. A null passes `is null` only.
    pub fn passing(&self, batch: &RecordBatch) -> BooleanArray {
        let columns: Vec<(&Condition, Option<&ArrayRef>)> = self
            .conditions
            .iter()
            .map(|condition| (condition, batch.column_by_name(&condition.column)))
            .collect();
        let passes = |row: usize| {
            columns
                .iter()
                .all(|(condition, column)| column.is_some_and(|column| condition.holds(column, row)))
        };
        (0..batch.num_rows()).map(|row| Some(passes(row))).collect()
    }
}

impl Condition {
    fn holds(&self, column: &ArrayRef, row: usize) -> bool {
        match &self.test {
            Test::Null(wanted) => column.is_null(row) == *wanted,
            _ if column.is_null(row) => false,
            Test::Number(operator, value) => number(column, row)
                .and_then(|found| found.partial_cmp(value))
                .is_some_and(|order| operator.holds(order)),
            Test::Text(operator, value) => {
                let found = column.as_string_opt::<i32>().map(|column| column.value(row));
                found.is_some_and(|found| operator.holds(found.cmp(value)))
            }
        }
    }
}

/// Parquet's strings as they are read: with 32-bit offsets.
fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8)
}

/// A number as a 64-bit float.
fn number(column: &ArrayRef, row: usize) -> Option<f64> {
    macro_rules! value {
        ($($Kind:ident => $Type:ty),*) => {
            match column.data_type() {
                $(DataType::$Kind => column.as_primitive_opt::<$Type>().map(|column| column.value(row) as f64),)*
                DataType::Float16 => column.as_primitive_opt::<Float16Type>().map(|column| column.value(row).to_f64()),
                _ => None,
            }
        };
    }
    value!(
        Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type,
        UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type,
        Float32 => Float32Type, Float64 => Float64Type
    )
}

fn condition(text: &str) -> Option<Condition> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let null = match words.as_slice() {
        [column, is, null] if is.eq_ignore_ascii_case("is") && null.eq_ignore_ascii_case("null") => {
            Some((column, true))
        }
        [column, is, not, null]
            if is.eq_ignore_ascii_case("is")
                && not.eq_ignore_ascii_case("not")
                && null.eq_ignore_ascii_case("null") =>
        {
            Some((column, false))
        }
        _ => None,
    };
    if let Some((column, wanted)) = null {
        return Some(Condition { column: (*column).into(), test: Test::Null(wanted) });
    }
    let at = text.find(['<', '>', '=', '!'])?;
    let (column, rest) = (text[..at].trim(), &text[at..]);
    let (sign, operator) = OPERATORS.into_iter().find(|(sign, _)| rest.starts_with(sign))?;
    let value = rest[sign.len()..].trim();
    let quoted = ['\'', '"'].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    let test = match quoted {
        Some(text) => Test::Text(operator, text.into()),
        None => Test::Number(operator, value.parse().ok().filter(|number: &f64| !number.is_nan())?),
    };
    (!column.is_empty()).then(|| Condition { column: column.into(), test })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Float32Array, Int64Array, StringArray};
    use arrow_schema::Field;
    use std::sync::Arc;

    fn batch() -> RecordBatch {
        RecordBatch::try_from_iter([
            (
                "similarity",
                Arc::new(Float32Array::from(vec![Some(0.25), Some(0.3125), None, Some(f32::NAN)]))
                    as ArrayRef,
            ),
            ("width", Arc::new(Int64Array::from(vec![100, 200, 300, 400])) as ArrayRef),
            (
                "status",
                Arc::new(StringArray::from(vec![Some("success"), Some("failed"), None, Some("success")]))
                    as ArrayRef,
            ),
        ])
        .unwrap()
    }

    fn passing(conditions: &[&str]) -> Vec<usize> {
        let conditions: Vec<String> = conditions.iter().map(ToString::to_string).collect();
        let passing = Filter::parse(&conditions).unwrap().passing(&batch());
        (0..4).filter(|row| passing.value(*row)).collect()
    }

    #[test]
    fn conditions_are_met_by_the_rows_that_meet_them() {
        for (conditions, rows) in [
            (&["similarity >= 0.3125"][..], &[1][..]),
            (&["similarity<0.3"], &[0]),
            (&["similarity is null"], &[2]),
            (&["similarity IS NOT NULL"], &[0, 1, 3]),
            (&["width > 100", "width != 300"], &[1, 3]),
            (&["width <= 200"], &[0, 1]),
            (&["width == 4e2"], &[3]),
            (&["status = 'success'"], &[0, 3]),
            (&["status != \"success\""], &[1]),
            (&[], &[0, 1, 2, 3]),
        ] {
            assert_eq!(passing(conditions), rows, "{conditions:?}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_the_mend() {
        for text in ["similarity", ">= 3", "width >= wide", "width ~ 3", "", "width >= nan"] {
            let error = Filter::parse(&[text.into()]).unwrap_err().to_string();
            assert!(
                error.contains(&format!("data.filter = {text}")) && error.contains("is not null"),
                "{error}"
            );
        }
    }

    #[test]
    fn columns_that_are_not_there_or_of_another_kind_are_named() {
        let schema = batch().schema();
        let told = |text: &str| {
            let error = Filter::parse(&[text.into()]).unwrap().columns(&schema, "x.parquet").unwrap_err();
            error.to_string()
        };
        assert!(told("size > 3").contains("numeric column size"), "{}", told("size > 3"));
        assert!(told("status > 3").contains("status (Utf8)"));
        assert!(told("width == 'x'").contains("text column width"));
    }

    #[test]
    fn rows_that_img2dataset_could_not_fetch_are_left_out_unless_something_else_is_asked_for() {
        let of = |conditions: &[&str], schema: &Schema| {
            let conditions: Vec<String> = conditions.iter().map(ToString::to_string).collect();
            Filter::parse(&conditions).unwrap().for_schema(schema).passing(&batch()).true_count()
        };
        assert_eq!(of(&[], &batch().schema()), 2);
        assert_eq!(of(&["width >= 400"], &batch().schema()), 1);
        assert_eq!(of(&["status is null"], &batch().schema()), 1);
        assert_eq!(of(&[], &Schema::new(vec![Field::new("status", DataType::Int64, true)])), 4);
    }
}
