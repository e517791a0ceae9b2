"""What a privacy gateway must not forget, in tables: SQLite by default, PostgreSQL for several processes."""
