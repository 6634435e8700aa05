//! What every home must do, as one set of functions: memory and folder here, with and without the fault layer,
//! and S3 where it is built. Each takes an empty store and panics with the claim that it breaks.

mod bytes;
mod documents;
mod listing;

pub use bytes::{
    a_range_is_what_it_says, a_writer_shows_nothing_before_its_end, bytes_are_created_once,
    conditional_reads_tell_the_content, deleting_twice_is_deleting_once,
    names_come_back_byte_for_byte, put_declaring,
};
pub use documents::{
    Counter, a_create_has_one_winner, a_document_goes_up_by_one_with_every_swap,
    a_replacement_needs_the_known_version, a_swap_counts_once, strange_documents_are_errors,
};
pub use listing::{a_level_shows_prefixes_that_hold_objects, a_listing_is_in_key_order};

/// Hands the name of every claim to the macro `$each`, which writes the tests of a home: one list for all homes.
#[macro_export]
macro_rules! for_every_claim {
    ($each:ident) => {
        $each! {
            a_create_has_one_winner,
            a_document_goes_up_by_one_with_every_swap,
            a_level_shows_prefixes_that_hold_objects,
            a_listing_is_in_key_order,
            a_range_is_what_it_says,
            a_replacement_needs_the_known_version,
            a_swap_counts_once,
            a_writer_shows_nothing_before_its_end,
            bytes_are_created_once,
            conditional_reads_tell_the_content,
            deleting_twice_is_deleting_once,
            names_come_back_byte_for_byte,
            strange_documents_are_errors,
        }
    };
}
