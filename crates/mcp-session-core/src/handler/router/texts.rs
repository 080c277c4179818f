//! [`Texts`]: values that come as texts, such as the arguments of a prompt, as the type that wants them.

use serde::{
    Deserializer,
    de::{Error as _, IntoDeserializer, Unexpected, Visitor, value::MapDeserializer},
    forward_to_deserialize_any,
};
use serde_json::{Error, Map, Value};

/// Named texts. A field that is a number or a boolean is read from its text. A value that is no text is taken as it is.
pub(super) struct Texts(pub(super) Map<String, Value>);

struct Text(Value);

impl<'de> Deserializer<'de> for Texts {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(MapDeserializer::new(self.0.into_iter().map(|(name, value)| (name, Text(value)))))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Text {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Methods that read a number or a boolean from its text.
macro_rules! parse {
    ($($method:ident $visit:ident $of:ty,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.0 {
                Value::String(text) => match text.parse::<$of>() {
                    Ok(value) => visitor.$visit(value),
                    Err(_) => Err(Error::invalid_value(Unexpected::Str(&text), &visitor)),
                },
                other => other.$method(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Text {
    type Error = Error;

    parse! {
        deserialize_bool visit_bool bool,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Order {
        Newest,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Row(u64);

    #[derive(Debug, PartialEq, Deserialize)]
    struct Page {
        table: String,
        row: Row,
        share: Option<f64>,
        all: bool,
        order: Order,
        offset: Option<i32>,
    }

    fn read<T: for<'de> Deserialize<'de>>(values: Value) -> Result<T, Error> {
        let Value::Object(values) = values else { panic!("an object") };
        T::deserialize(Texts(values))
    }

    #[test]
    fn each_field_is_read_from_its_text() {
        let page = json!({ "table": "7", "row": "7", "share": "0.5", "all": "true", "order": "newest", "more": "x" });
        let read: Page = read(page).unwrap();
        let (table, row, order) = ("7".to_owned(), Row(7), Order::Newest);
        assert_eq!(read, Page { table, row, share: Some(0.5), all: true, order, offset: None });
    }

    #[test]
    fn what_is_no_text_is_taken_as_it_is() {
        let page =
            json!({ "table": "t", "row": 7, "share": null, "all": true, "order": "newest", "offset": -1 });
        let read: Page = read(page).unwrap();
        assert_eq!((read.row, read.share, read.all, read.offset), (Row(7), None, true, Some(-1)));
    }

    #[test]
    fn a_text_of_another_type_is_refused() {
        #[derive(Debug, Deserialize)]
        struct Small {
            #[expect(dead_code, reason = "decoded to be checked")]
            small: u8,
        }
        for text in ["256", "-1", "", "a", "1.5", " 1"] {
            let refused = read::<Small>(json!({ "small": text })).unwrap_err();
            assert!(refused.to_string().contains("expected u8"), "{text}: {refused}");
        }
    }
}
