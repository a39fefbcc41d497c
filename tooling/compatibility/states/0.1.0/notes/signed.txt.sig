{
  "payloadType": "application/vnd.keyturn.statement+json",
  "payload": "eyJ0eXBlIjoia2V5dHVybi5zdGF0ZW1lbnQiLCJzY2hlbWEiOjEsInB1cnBvc2UiOiJmaWxlIiwiaWRlbnRpdHkiOiJFSGpVVkZyemUtRG1aejNUbjM1MXAwQ3NkRGVSYWNBRWxWZF9UTWxvX2xITyIsInNuIjoxLCJzYWlkIjoiRU8tNURna1lTYnNwcm5MNXVBVll4bmo0NkVGQ29kQ0hoVV8zNWZfc0Ezd18iLCJzaGEyNTYiOiI0YTFkNmQ4M2E2YTIzNzU3ZDU1MjkxOTA5NzJmNmI1YWI3NGUxMDc1N2IzMDFmZTFjMjMzZDEyMDJlNWNiODA2IiwibmFtZSI6InNpZ25lZC50eHQiLCJjbGFpbWVkX2F0IjoiMjAyNi0xMS0yM1QwMDowMDowMC4wMDBaIn0=",
  "signatures": [
    {
      "keyid": "7f7a99ee3bebdf6a02a310f650f1164618ba81ec1ab822999515dd4eeea75ca8",
      "sig": "hWI/D4qB3Sh4uQo/efXIX6IFPGWG937xlnUepmHmwokJgd+VSIjqbqi1mtEM785zWy8LUWZOmUl0iCkxK8rBAQ=="
    }
  ]
}
