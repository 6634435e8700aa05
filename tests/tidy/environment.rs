//! Every setting is documented, and only what is documented is read.

#[test]
fn the_readme_shows_the_table_of_settings() {
    let table = cellmill_service::settings::table();
    assert!(
        super::read("README.md").contains(table.trim()),
        "the table of settings in README.md is not what `cellmill settings --markdown` prints:\n{table}"
    );
}
