int odd_specs_placeholder;
