//! Assembles the rooms from settings; reloads, drains and stops.
