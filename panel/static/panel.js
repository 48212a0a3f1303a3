// The few lines of script that the panel needs beside htmx.
