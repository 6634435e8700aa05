//! Trainings and predictions, seen from outside: what is asked for, what they leave, and how good that is.

pub mod class_folders;
pub mod commands;
pub mod folder_split;
pub mod new_images;
pub mod projects;
pub mod scores;
